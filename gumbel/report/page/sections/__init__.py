"""The sections of the page: what each shows, beside the template of its name."""
