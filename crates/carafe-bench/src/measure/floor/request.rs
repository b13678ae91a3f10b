//! The requests that the floor understands.

use std::str;

use crate::outcome::Outcome;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// To the topic that the path names.
    Subscribe(&'a str),
    /// A topic, and the data of an event.
    Publish(&'a str, &'a str),
    /// The same for each line.
    Batch(Vec<(&'a str, &'a str)>),
}

impl<'a> Request<'a> {
    /// Takes a request off the front, if it is whole.
    pub(super) fn take(read: &mut &'a [u8]) -> Outcome<Option<Self>> {
        let Some(head_end) = memchr::memmem::find(read, b"\r\n\r\n") else { return Ok(None) };
        let head = str::from_utf8(&read[..head_end])?;
        let start = head_end + 4;
        let length = if head.starts_with("POST") { content_length(head)? } else { 0 };
        let Some(body) = read.get(start..start + length) else { return Ok(None) };
        *read = &read[start + length..];
        Self::parse(head, str::from_utf8(body)?).map(Some)
    }

    fn parse(head: &'a str, body: &'a str) -> Outcome<Self> {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (method, path.strip_prefix("/events/")) {
            ("GET", Some(topic)) => Ok(Self::Subscribe(topic)),
            ("POST", Some(topic)) => Ok(Self::Publish(topic, body)),
            ("POST", None) => Ok(Self::Batch(body.lines().map(line).collect::<Outcome<_>>()?)),
            _ => Err(format!("the floor does not know {method} {path}").into()),
        }
    }
}

fn content_length(head: &str) -> Outcome<usize> {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    Ok(length.map_or(Ok(0), str::parse)?)
}

/// A line of NDJSON as the load writes it, without escapes.
fn line(line: &str) -> Outcome<(&str, &str)> {
    let parts = || {
        let (topic, rest) = line.strip_prefix("{\"topic\":\"")?.split_once("\",\"data\":\"")?;
        Some((topic, rest.strip_suffix("\"}")?))
    };
    parts().ok_or_else(|| format!("the floor does not read {line}").into())
}

#[cfg(test)]
mod tests {
    use super::Request;

    fn take<'a>(read: &mut &'a [u8]) -> Option<Request<'a>> {
        Request::take(read).unwrap()
    }

    #[test]
    fn requests_are_taken_one_by_one_when_they_are_whole() {
        let all = b"GET /events/bench/7 HTTP/1.1\r\n\r\n\
            POST /events/bench HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
        let mut read = &all[..all.len() - 1];
        assert_eq!(take(&mut read), Some(Request::Subscribe("bench/7")));
        assert_eq!(take(&mut read), None);
        let mut read = &all[all.len() - read.len() - 1..];
        assert_eq!(take(&mut read), Some(Request::Publish("bench", "hi")));
        assert!(read.is_empty());
    }

    #[test]
    fn a_batch_has_an_event_on_each_line() {
        let body = "{\"topic\":\"a\",\"data\":\"1\"}\n{\"topic\":\"b\",\"data\":\"2\"}\n";
        let read = format!("POST /events HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let batch = Request::Batch(vec![("a", "1"), ("b", "2")]);
        assert_eq!(take(&mut read.as_bytes()), Some(batch));
    }
}
