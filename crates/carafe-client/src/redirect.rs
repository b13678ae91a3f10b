//! Sends requests, and follows redirects as browsers do (Fetch, 4.4, "HTTP-redirect fetch").

use bytes::Bytes;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use crate::cause::Cause;
use crate::http::check_scheme;

/// The most redirects of a request, as in Fetch.
const MOST: usize = 20;

/// A request that can be sent again.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// What any server may see.
    pub(crate) headers: HeaderMap,
    /// What only the origin of the URL may see: the token, and what the program has set.
    pub(crate) private: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// Whether redirects that change the method are followed. An event that is published must not
    /// become a GET.
    pub(crate) may_become_get: bool,
}

/// Why there is no response.
pub(crate) enum SendError {
    Http(reqwest::Error),
    Redirect(Cause),
}

impl SendError {
    /// Whether a server may have handled the request. Before the connection is made, nothing was
    /// sent. A server that redirects does not handle the request.
    pub(crate) fn was_sent(&self) -> bool {
        matches!(self, Self::Http(error) if !error.is_connect())
    }
}

impl From<SendError> for Cause {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Http(error) => Self::of(error),
            SendError::Redirect(reason) => reason,
        }
    }
}

impl Outgoing {
    /// A request without headers and body, of which a redirect does not change the method.
    pub(crate) fn to(method: Method, url: Url) -> Self {
        let (headers, private) = (HeaderMap::new(), HeaderMap::new());
        Self { method, url, headers, private, body: None, may_become_get: false }
    }

    /// Sends the request. A redirect without a location is a response like others.
    pub(crate) async fn send(mut self, client: &Client) -> Result<Response, SendError> {
        for _ in 0..=MOST {
            let response = self.send_once(client).await.map_err(SendError::Http)?;
            let Some(target) = self.target(&response) else { return Ok(response) };
            let target = target.map_err(SendError::Redirect)?;
            self.follow(response.status(), target);
        }
        let text = format!("more than {MOST} redirects, the last to {}", self.url);
        Err(SendError::Redirect(text.into()))
    }

    async fn send_once(&self, client: &Client) -> reqwest::Result<Response> {
        let mut headers = self.headers.clone();
        headers.extend(self.private.clone());
        let request = client.request(self.method.clone(), self.url.clone()).headers(headers);
        match &self.body {
            Some(body) => request.body(body.clone()).send().await,
            None => request.send().await,
        }
    }

    /// Where the response leads.
    fn target(&self, response: &Response) -> Option<Result<Url, Cause>> {
        let status = response.status();
        let is_redirect = matches!(status.as_u16(), 301..=303 | 307 | 308);
        if !is_redirect || (self.becomes_get(status) && !self.may_become_get) {
            return None;
        }
        // UTF-8 as it is, as browsers read it.
        let location = std::str::from_utf8(response.headers().get(LOCATION)?.as_bytes());
        let target = location.map_err(Cause::of);
        Some(target.and_then(|location| {
            let url = self.url.join(location).map_err(Cause::of)?;
            check_scheme(&url).map(|()| url)
        }))
    }

    fn becomes_get(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        }
    }

    fn follow(&mut self, status: StatusCode, target: Url) {
        if self.becomes_get(status) {
            self.method = Method::GET;
            self.body = None;
            for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE] {
                self.headers.remove(&name);
                self.private.remove(&name);
            }
        }
        // For good: a later redirect back does not bring them again.
        if target.origin() != self.url.origin() {
            self.private.clear();
        }
        self.url = target;
    }
}
