"""Networks. One file per family; `build` gives one network per role."""
