//! The body of a POST: an event's data in a template.

use crate::error::Error;

/// A text around the data of an event.
pub(crate) struct Body {
    before: String,
    after: String,
}

impl Body {
    /// `{data}` is the place of the data. `{topic}` is replaced by the number of the topic.
    pub(crate) fn parse(template: &str) -> Result<Self, Error> {
        let parts = template.split_once("{data}");
        let (before, after) = parts
            .ok_or_else(|| Error::Usage(format!("--body {template} does not have {{data}}")))?;
        Ok(Self { before: before.into(), after: after.into() })
    }

    pub(crate) fn write(&self, topic: usize, body: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
        let with_topic = |text: &str| text.replace("{topic}", &topic.to_string()).into_bytes();
        body.extend(with_topic(&self.before));
        data(body);
        body.extend(with_topic(&self.after));
    }
}

#[cfg(test)]
mod tests {
    use super::Body;

    #[test]
    fn the_data_and_the_topic_are_filled_in() {
        let template = Body::parse(r#"{"channel":"bench/{topic}","data":"{data}"}"#).unwrap();
        let mut body = Vec::new();
        template.write(7, &mut body, |body| body.extend_from_slice(b"hello"));
        assert_eq!(body, br#"{"channel":"bench/7","data":"hello"}"#);
        assert!(Body::parse("{topic}").is_err());
    }
}
