"""What the API says and hears: Pydantic models that refuse every field they do not know."""
