//! Parses the response of a stream: a head, and a chunked body (RFC 9112, section 7.1).

use std::io;

/// Takes an answer apart as it arrives.
#[derive(Default)]
pub(super) struct Chunks {
    /// The head or the size of a chunk, as far as it is there.
    line: Vec<u8>,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Size,
    Data(usize),
    AfterData,
    End,
}

/// Bytes of a head at most.
const LONGEST: usize = 64 << 10;

impl Chunks {
    /// Whether the head is there, and was as it should be.
    pub(super) fn has_begun(&self) -> bool {
        self.state != State::Head
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::End
    }

    /// Hands the content of the body on.
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        while !bytes.is_empty() && self.state != State::End {
            if let State::Data(left) = self.state {
                let (data, rest) = bytes.split_at(left.min(bytes.len()));
                content(data);
                bytes = rest;
                self.state = if data.len() == left {
                    State::AfterData
                } else {
                    State::Data(left - data.len())
                };
                continue;
            }
            self.line.push(bytes[0]);
            bytes = &bytes[1..];
            if self.line.len() > LONGEST {
                return Err(bad("a head or a chunk's size does not end"));
            }
            self.end_line()?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        match self.state {
            State::Head if self.line.ends_with(b"\r\n\r\n") => {
                if !self.line.starts_with(b"HTTP/1.1 200 ") {
                    return Err(bad(&String::from_utf8_lossy(&self.line)));
                }
                self.state = State::Size;
            }
            State::Size if self.line.ends_with(b"\r\n") => {
                let size = String::from_utf8_lossy(&self.line);
                let size = usize::from_str_radix(size.trim(), 16).map_err(|_| bad(&size))?;
                self.state = if size == 0 { State::End } else { State::Data(size) };
            }
            State::AfterData if self.line == b"\r\n" => self.state = State::Size,
            _ => return Ok(()),
        }
        self.line.clear();
        Ok(())
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Chunks;

    #[test]
    fn chunks_are_joined_however_they_arrive() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nb\r\n, everybody\r\n0\r\n\r\n";
        for size in 1..answer.len() {
            let (mut chunks, mut content) = (Chunks::default(), Vec::new());
            for piece in answer.chunks(size) {
                chunks.push(piece, |data| content.extend_from_slice(data)).unwrap();
            }
            assert_eq!(content, b"hello, everybody", "pieces of {size}");
            assert!(chunks.has_ended());
        }
    }

    #[test]
    fn an_answer_other_than_200_is_an_error() {
        let mut chunks = Chunks::default();
        assert!(chunks.push(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", |_| ()).is_err());
        assert!(!chunks.has_begun());
    }
}
