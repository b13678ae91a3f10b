//! The requests that the floor understands.

use std::str;

use crate::Outcome;

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
