"""Models that take the noise out of speech, with and without the speaker's mouth."""
