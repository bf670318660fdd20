"""Shared by the tests of language models."""

import pytest
import tokenizers


@pytest.fixture(scope="session")
def smollm2_reference(smollm2_path) -> tokenizers.Tokenizer:
    """SmolLM2's tokenizer as transformers reads it from GGUF, with the step it drops: every digit stands alone."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    backend = AutoTokenizer.from_pretrained(str(smollm2_path.parent), gguf_file=smollm2_path.name).backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    return backend
