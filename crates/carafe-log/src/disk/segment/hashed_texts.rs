//! Texts that are looked up in many segments.

use crate::disk::format::filter::{HashKind, Probe};
use crate::disk::format::index::HashInput;

/// Texts with their hashes. Neighbouring segments usually have the same salt, so most texts are
/// hashed once.
pub(crate) struct HashedTexts {
    kind: HashKind,
    texts: Vec<HashInput>,
    /// The salt of the hashes.
    salt: Option<u32>,
    hashes: Vec<u64>,
    probes: Vec<Probe>,
}

impl HashedTexts {
    pub(crate) fn new(kind: HashKind, texts: Vec<HashInput>) -> Self {
        Self { kind, texts, salt: None, hashes: Vec::new(), probes: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The kind of the texts, their hashes with this salt, and these as they are tested with
    /// filters.
    pub(crate) fn hashed(&mut self, salt: u32) -> (HashKind, &[u64], &[Probe]) {
        if self.salt != Some(salt) {
            self.hashes = self.texts.iter().map(|text| text.hash(salt)).collect();
            let probe = |hash: &u64| Probe::new(self.kind, *hash);
            self.probes = self.hashes.iter().map(probe).collect();
            self.salt = Some(salt);
        }
        (self.kind, &self.hashes, &self.probes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::format::index::hash;

    #[test]
    fn texts_are_hashed_with_the_salt_of_each_segment() {
        let texts = [["a", "bc"], ["ab", "c"]];
        let inputs = texts.iter().map(|texts| HashInput::of(texts)).collect();
        let mut hashed = HashedTexts::new(HashKind::Key, inputs);
        for salt in [1, 1, 2, 1] {
            let expected = texts.map(|texts| hash(&texts, salt));
            let (kind, hashes, probes) = hashed.hashed(salt);
            assert_eq!((kind, hashes), (HashKind::Key, &expected[..]));
            assert_eq!(probes, expected.map(|hash| Probe::new(kind, hash)));
        }
    }
}
