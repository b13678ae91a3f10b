//! Any bytes in place of a commit. The fuzz target `commit` runs the same.

use carafe_log::Commit;

/// Whether the bytes are a commit. If they are, it is written as something that is read the same.
pub(crate) fn any_payload_is_decoded_or_refused(payload: &[u8]) -> bool {
    match Commit::decode(payload) {
        Ok(commit) => {
            assert!(commit.publications() <= Commit::MAX_PUBLICATIONS);
            let written = commit.encode();
            // An offset in decimal may have been written in another way.
            assert!(written.len() <= payload.len());
            assert_eq!(Commit::decode(&written), Ok(commit));
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
