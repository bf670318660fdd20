"""Mathematics: quadratics minimised in six ways; derivatives, gradients and tangent planes of typed functions."""
