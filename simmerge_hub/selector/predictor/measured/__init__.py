"""What fixed arms reached where nothing is predicted: far from training, and of many models."""
