"""One model -> its signature: sampled weights, sketches, the file they are in."""
