"""Tasks of our own in the harness's form: the exams of the nano models in the package."""
