//! What the fuzz target and its corpus demand of URI Templates: a small expander, written along RFC
//! 6570, section 3.2.1.

use carafe_protocol::TopicPattern;

/// The value of a variable.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// The first line is a template, each further one a variable: its name, `s`, `l` or `p`, and texts,
/// all between tabs. Says whether there was something to expand.
pub(crate) fn what_expands_matches(input: &[u8]) -> bool {
    let Ok(input) = std::str::from_utf8(input) else { return false };
    let mut lines = input.lines();
    let Ok(template) = TopicPattern::template(lines.next().unwrap_or_default()) else {
        return false;
    };
    let variables: Vec<(&str, Value)> = lines.filter_map(variable).collect();
    let value = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    };
    let Some(expansion) = expand(template.as_str(), &value) else {
        panic!("{template} was taken, and is no template");
    };
    assert!(template.matches(&expansion), "{template} against {expansion}");
    true
}

fn variable(line: &str) -> Option<(&str, Value)> {
    let mut fields = line.split('\t');
    let (name, kind) = (fields.next()?, fields.next()?);
    let texts: Vec<String> = fields.map(Into::into).collect();
    Some((
        name,
        match kind {
            "s" => Value::Text(texts.first()?.clone()),
            "l" => Value::List(texts),
            "p" => Value::Pairs(
                texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            ),
            _ => return None,
        },
    ))
}

/// The template with these values; `None` if it is none.
pub(crate) fn expand(template: &str, value: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let end = at + rest[at..].find('}')?;
        escape(&rest[..at], true, &mut out);
        expand_expression(&rest[at + 1..end], value, &mut out);
        rest = &rest[end + 1..];
    }
    escape(rest, true, &mut out);
    Some(out)
}

fn expand_expression(expression: &str, value: &dyn Fn(&str) -> Option<Value>, out: &mut String) {
    let sign = expression.chars().next().filter(|sign| "+#./;?&".contains(*sign));
    let (first, separator, if_empty) = match sign {
        Some('#') => ("#", ",", None),
        Some('.') => (".", ".", None),
        Some('/') => ("/", "/", None),
        Some(';') => (";", ";", Some("")),
        Some('?') => ("?", "&", Some("=")),
        Some('&') => ("&", "&", Some("=")),
        _ => ("", ",", None),
    };
    let reserved = matches!(sign, Some('+' | '#'));
    let mut parts: Vec<String> = Vec::new();
    for variable in expression[sign.map_or(0, char::len_utf8)..].split(',') {
        let name = variable.trim_end_matches('*').split(':').next().unwrap_or_default();
        let length = variable
            .split_once(':')
            .map(|(_, length)| length.parse().expect("a length is a number"));
        let named = if_empty.map(|if_empty| (name, if_empty));
        match value(name) {
            None => {}
            Some(Value::Text(text)) => {
                let text = length.map_or(text.clone(), |length| prefix(&text, length, reserved));
                parts.push(with_name(named, &escaped(&text, reserved)));
            }
            Some(Value::List(members)) if members.is_empty() || length.is_some() => {}
            Some(Value::Pairs(pairs)) if pairs.is_empty() || length.is_some() => {}
            Some(value) if variable.ends_with('*') => {
                parts.extend(exploded(&value, named, reserved));
            }
            Some(Value::List(members)) => {
                let members: Vec<_> =
                    members.iter().map(|member| escaped(member, reserved)).collect();
                parts.push(with_name(named, &members.join(",")));
            }
            Some(Value::Pairs(pairs)) => {
                let texts = pairs.iter().flat_map(|(key, value)| [key, value]);
                let texts: Vec<_> = texts.map(|text| escaped(text, reserved)).collect();
                parts.push(with_name(named, &texts.join(",")));
            }
        }
    }
    if !parts.is_empty() {
        out.push_str(first);
        out.push_str(&parts.join(separator));
    }
}

fn exploded(value: &Value, named: Option<(&str, &str)>, reserved: bool) -> Vec<String> {
    match (value, named) {
        (Value::Text(_), _) => unreachable!("a text is not exploded"),
        (Value::List(members), named) => {
            members.iter().map(|member| with_name(named, &escaped(member, reserved))).collect()
        }
        (Value::Pairs(pairs), None) => pairs
            .iter()
            .map(|(key, value)| format!("{}={}", escaped(key, reserved), escaped(value, reserved)))
            .collect(),
        (Value::Pairs(pairs), Some((_, if_empty))) => pairs
            .iter()
            .map(|(key, value)| {
                with_name(Some((&escaped(key, true), if_empty)), &escaped(value, reserved))
            })
            .collect(),
    }
}

fn with_name(named: Option<(&str, &str)>, value: &str) -> String {
    match named {
        None => value.into(),
        Some((name, if_empty)) if value.is_empty() => format!("{name}{if_empty}"),
        Some((name, _)) => format!("{name}={value}"),
    }
}

/// The first characters. Where escapes stay as they are, each counts as one.
fn prefix(text: &str, length: usize, reserved: bool) -> String {
    let mut rest = text;
    for _ in 0..length {
        let step = if reserved && is_escape(rest) {
            3
        } else {
            rest.chars().next().map_or(0, char::len_utf8)
        };
        rest = &rest[step..];
    }
    text[..text.len() - rest.len()].into()
}

fn is_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 3 && bytes[0] == b'%' && bytes[1..3].iter().all(u8::is_ascii_hexdigit)
}

fn escaped(text: &str, reserved: bool) -> String {
    let mut out = String::new();
    escape(text, reserved, &mut out);
    out
}

fn escape(text: &str, reserved: bool, out: &mut String) {
    for (at, char) in text.char_indices() {
        let kept = char.is_ascii_alphanumeric()
            || "-._~".contains(char)
            || (reserved && (":/?#[]@!$&'()*+,;=".contains(char) || is_escape(&text[at..])));
        if kept {
            out.push(char);
        } else {
            out.extend(char.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
}
