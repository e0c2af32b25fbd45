"""Tables -> a predictor, judged on models it has not seen."""
