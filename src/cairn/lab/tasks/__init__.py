"""Tasks with known credit. One module for each family; each turns its knobs into `World`s."""
