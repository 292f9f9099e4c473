"""To set a site up and keep it in order: init, check, schedule, cleanup. No cycle needs any of it."""
