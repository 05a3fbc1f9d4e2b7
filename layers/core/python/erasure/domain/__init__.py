"""Pure rules: no input or output, no AWS, no clock of their own."""
