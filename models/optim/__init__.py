"""Mathematics of descent: quadratics minimised in six ways."""
