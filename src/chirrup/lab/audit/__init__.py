"""Audit of models: complexity, parameters, latency and receptive field."""
