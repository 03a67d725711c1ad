"""Builds the imagenet-lite pair pool: see ../../README.md."""
