"""Tasks that ask for the clean speech behind noise, from the sound and the speaker's mouth."""
