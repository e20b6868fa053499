"""The pages: each module exports `routes`, which `dashboard.app` puts together."""
