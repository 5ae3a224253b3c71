"""Operations, by family; each is a primitive's rules beside its public function."""
