//! The requests that the floor understands.

use std::str;

use crate::outcome::Outcome;

pub(crate) enum Request {
    /// To the topic that the path names.
    Subscribe(String),
    /// Topics, each with the data of an event.
    Publish(Vec<(String, String)>),
}

impl Request {
    /// Takes a request off the front, if it is whole.
    pub(crate) fn take(read: &mut Vec<u8>) -> Outcome<Option<Self>> {
        let Some(head_end) = memchr::memmem::find(read, b"\r\n\r\n") else { return Ok(None) };
        let head = str::from_utf8(&read[..head_end])?;
        let end = head_end + 4 + content_length(head)?;
        if read.len() < end {
            return Ok(None);
        }
        let request = Self::parse(head, str::from_utf8(&read[head_end + 4..end])?)?;
        read.drain(..end);
        Ok(Some(request))
    }

    fn parse(head: &str, body: &str) -> Outcome<Self> {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match (method, path.strip_prefix("/events/")) {
            ("GET", Some(topic)) => Ok(Self::Subscribe(topic.into())),
            ("POST", Some(topic)) => Ok(Self::Publish(vec![(topic.into(), body.into())])),
            ("POST", None) => Ok(Self::Publish(body.lines().map(line).collect::<Outcome<_>>()?)),
            _ => Err(format!("the floor does not know {method} {path}").into()),
        }
    }
}

fn content_length(head: &str) -> Outcome<usize> {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    Ok(length.map_or(Ok(0), str::parse)?)
}

/// A line of NDJSON as the load writes it, without escapes.
fn line(line: &str) -> Outcome<(String, String)> {
    let parts = || {
        let (topic, rest) = line.strip_prefix("{\"topic\":\"")?.split_once("\",\"data\":\"")?;
        Some((topic.into(), rest.strip_suffix("\"}")?.into()))
    };
    parts().ok_or_else(|| format!("the floor does not read {line}").into())
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn requests_are_taken_one_by_one_when_they_are_whole() {
        let mut read =
            b"GET /events/bench/7 HTTP/1.1\r\n\r\nPOST /events/bench HTTP/1.1\r\nContent-Length: 2\r\n\r\nh"
                .to_vec();
        let mut take = |more: &[u8]| {
            read.extend_from_slice(more);
            Request::take(&mut read).unwrap()
        };
        assert!(matches!(take(b""), Some(Request::Subscribe(topic)) if topic == "bench/7"));
        assert!(take(b"").is_none());
        let Some(Request::Publish(events)) = take(b"i") else { panic!("the body is there") };
        assert_eq!(events, [("bench".to_owned(), "hi".to_owned())]);
    }

    #[test]
    fn a_batch_has_an_event_on_each_line() {
        let body = "{\"topic\":\"a\",\"data\":\"1\"}\n{\"topic\":\"b\",\"data\":\"2\"}\n";
        let mut read =
            format!("POST /events HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .into_bytes();
        let Some(Request::Publish(events)) = Request::take(&mut read).unwrap() else {
            panic!("it is whole")
        };
        assert_eq!(events, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    }
}
