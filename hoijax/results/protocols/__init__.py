"""The field's evaluation protocols, each with the source of its definition; `registry` lists them."""
