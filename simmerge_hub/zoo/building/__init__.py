"""One model of a zoo after the other: in an order that works, trained, saved, examined."""
