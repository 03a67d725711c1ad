//! Where a server is: `grpc://host:8001/model`, `http://host:8000`, and the same with TLS (`grpcs`, `https`).

use std::fmt;
use std::str::FromStr;

/// How to speak to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// gRPC if the port speaks it, else REST.
    Http,
    /// gRPC only.
    Grpc,
}

/// A server's address, and perhaps the model's name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// gRPC or anything.
    pub scheme: Scheme,
    /// With TLS.
    pub tls: bool,
    /// A host name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The model's name on the server, if it is not the base's.
    pub model: Option<String>,
}

/// A text that is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{url}' is no server: {detail}; wanted is something like grpc://192.168.1.20:8001/model or https://base.local:8000"
)]
pub struct UrlError {
    url: String,
    detail: &'static str,
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let refuse = |detail| UrlError { url: url.to_owned(), detail };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let (scheme, tls) = match scheme {
            "http" => (Scheme::Http, false),
            "https" => (Scheme::Http, true),
            "grpc" => (Scheme::Grpc, false),
            "grpcs" => (Scheme::Grpc, true),
            _ => return Err(refuse("its scheme is none of http, https, grpc, grpcs")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| refuse("it has no port"))?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(|| refuse("its port is no number"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte)) {
            return Err(refuse("its host is no name or address"));
        }
        let model = path.trim_end_matches('/');
        let model = model.strip_prefix("v2/models/").unwrap_or(model);
        if !model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err(refuse("its model's name has more than letters, digits, '.', '_' and '-'"));
        }
        let model = (!model.is_empty()).then(|| model.to_owned());
        Ok(Self { scheme, tls, host: host.to_owned(), port, model })
    }
}

impl EndpointUrl {
    /// As HTTP names it.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.scheme, self.tls) {
            (Scheme::Http, false) => "http",
            (Scheme::Http, true) => "https",
            (Scheme::Grpc, false) => "grpc",
            (Scheme::Grpc, true) => "grpcs",
        };
        write!(f, "{scheme}://{}", self.authority())?;
        self.model.as_ref().map_or(Ok(()), |model| write!(f, "/{model}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for url in
            ["http://127.0.0.1:8000", "grpcs://base.local:8001/lite2-260-f32", "https://[::1]:443/m", "grpc://h:1"]
        {
            assert_eq!(url.parse::<EndpointUrl>().unwrap().to_string(), url);
        }
        let long: EndpointUrl = "http://h:8000/v2/models/big/".parse().unwrap();
        assert_eq!(long.model.as_deref(), Some("big"));
    }

    #[test]
    fn what_is_none_says_why() {
        for (url, part) in [
            ("127.0.0.1:8000", "scheme"),
            ("ftp://h:1", "scheme"),
            ("http://h", "port"),
            ("http://h:0", "port"),
            ("http://h:99999", "port"),
            ("http://:80", "host"),
            ("http://a b:80", "host"),
            ("http://user@h:80", "host"),
            ("http://h:80/a/b", "model"),
            ("http://h:80/m?x=1", "model"),
        ] {
            let error = url.parse::<EndpointUrl>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("grpc://"), "{url}: {error}");
        }
    }
}
