"""What was measured, and what is known of it: tables of outcomes and features."""
