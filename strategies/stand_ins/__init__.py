"""Modules and models that compute what another one computes, in another way."""
