//! Addresses: what is listened on, who is trusted, where requests go.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::error::{Wrong, quoted};
use super::keys::Syntax;
use super::syntax::host_name;
use crate::upstream::{Endpoint, Host};

pub(super) const SOCKET: Syntax = Syntax {
    says: "an address, like \"127.0.0.1:8080\" or \"[::]:8080\"",
    check: |text| socket(text).map(drop),
};
pub(super) const SOCKET_OR_OFF: Syntax = Syntax {
    says: "an address, like \"127.0.0.1:9900\", or \"off\"",
    check: |text| {
        if text == "off" {
            Ok(())
        } else {
            socket(text).map(drop)
        }
    },
};
pub(super) const NETWORK: Syntax = Syntax {
    says: "an address or network, like \"10.0.0.0/8\"",
    check: |text| network(text).map(drop),
};
pub(super) const URL: Syntax = Syntax {
    says: "a URL, like \"http://10.0.0.1:8080\"",
    check: |text| endpoint(text).map(drop),
};

/// An address to listen on, with its port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = Wrong::new(format!("{} is not an address with a port", quoted(text)));
    if let Ok(address) = text.parse::<IpAddr>() {
        let with_port = SocketAddr::new(address, 8080);
        return Err(wrong.help(format!("add the port: \"{with_port}\"")));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let Ok(port) = port.parse::<u16>() else {
        return Err(wrong.help("like \"127.0.0.1:8080\", or \"[::]:8080\" for every address"));
    };
    Err(match host {
        "" | "*" => wrong.help(format!(
            "\"127.0.0.1:{port}\" for this machine only, \"[::]:{port}\" for every address"
        )),
        "localhost" => wrong.help(format!("did you mean \"127.0.0.1:{port}\"?")),
        host if host.parse::<Ipv6Addr>().is_ok() => {
            wrong.help(format!("did you mean \"[{host}]:{port}\"?"))
        }
        _ => wrong.help("names are not resolved here; write the address itself"),
    })
}

/// A network; an address alone is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, Wrong> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let wrong = Wrong::new(format!("{} is not an address or network", quoted(text)));
    let Ok(network) = text.parse::<IpNet>() else {
        return Err(wrong.help("like \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\""));
    };
    if network.addr() != network.network() {
        let message = format!("{} has bits beyond its prefix", quoted(text));
        return Err(Wrong::new(message).help(format!("did you mean \"{}\"?", network.trunc())));
    }
    Ok(network)
}

/// `http://host[:port][/base][?query]`; its weight is 1.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let wrong = |why: &str| Wrong::new(format!("{} {why}", quoted(text)));
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
        let odd = quoted(&odd.to_string());
        return Err(wrong(&format!("has {odd}, which is no part of a URL"))
            .help("percent-encode it, or write the host's punycode form"));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(wrong("has no scheme").help(format!("did you mean \"http://{text}\"?")));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => {
            return Err(wrong(
                "is TLS, which is not implemented towards upstreams in this version",
            )
            .help("use http:// on a network that you trust"));
        }
        _ => return Err(wrong("is not an HTTP URL").help("it begins with http://")),
    }
    if rest.contains('#') {
        return Err(wrong("has a fragment").help("a fragment never reaches a server; take it out"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err(wrong("has a user or password in it")
            .help("set the field instead: request_headers = { set = { authorization = \"…\" } }"));
    }
    if path.contains(['<', '>', '"', '\\', '^', '`', '{', '|', '}'])
        || query.contains(['<', '>', '"', '\\', '^', '`', '{', '|', '}'])
    {
        return Err(wrong("has a character that is no part of a URL").help("percent-encode it"));
    }
    if path
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(wrong("has a dot segment").help("write the path that is meant"));
    }
    let (host, port) = host_and_port(text, authority)?;
    let shown = match &host {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        Host::Address(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    };
    let authority = if port == 80 {
        shown
    } else {
        format!("{shown}:{port}")
    };
    Ok(Endpoint {
        host,
        port,
        authority,
        base_path: path.trim_end_matches('/').to_owned(),
        base_query: query.to_owned(),
        weight: 1,
    })
}

fn host_and_port(text: &str, authority: &str) -> Result<(Host, u16), Wrong> {
    let wrong = |why: &str| Wrong::new(format!("{} {why}", quoted(text)));
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let Some((literal, port)) = rest.split_once(']') else {
            return Err(wrong("has an IPv6 address without its `]`"));
        };
        let Ok(address) = literal.parse::<Ipv6Addr>() else {
            return Err(wrong("has no IPv6 address between its brackets")
                .help("like \"http://[::1]:8080\""));
        };
        (Host::Address(address.into()), port)
    } else {
        let colon = authority.find(':').unwrap_or(authority.len());
        let (name, port) = authority.split_at(colon);
        if port.matches(':').count() > 1 {
            return Err(
                wrong("has an IPv6 address without brackets").help("like \"http://[::1]:8080\"")
            );
        }
        if name.is_empty() {
            return Err(wrong("has no host").help("like \"http://10.0.0.1:8080\""));
        }
        (
            named_host(name).map_err(|why| wrong(&format!("has no good host: {}", why.message)))?,
            port,
        )
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 80,
        None => return Err(wrong("has something between its host and its port")),
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => port,
            _ => return Err(wrong("has no good port").help("a port is 1 to 65535")),
        },
    };
    Ok((host, port))
}

fn named_host(name: &str) -> Result<Host, Wrong> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(Host::Address(address));
    }
    // "10.0.0.256" and "127.1" are addresses gone wrong: never a name, whose last label has a letter (RFC 1123 §2.1).
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::new(format!("{} is not an address", quoted(name))));
    }
    host_name(name)?;
    Ok(Host::Name(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help<T>(outcome: Result<T, Wrong>) -> String {
        let wrong = outcome.err().expect("refused");
        format!("{} {}", wrong.message, wrong.help.unwrap_or_default())
    }

    #[test]
    fn an_address_to_listen_on_has_a_port() {
        assert!(socket("127.0.0.1:0").is_ok());
        assert!(socket("[::1]:8080").is_ok());
        assert!(help(socket("127.0.0.1")).contains("127.0.0.1:8080"));
        assert!(help(socket("::1")).contains("[::1]:8080"));
        assert!(help(socket(":80")).contains("[::]:80"));
        assert!(help(socket("8080")).contains("127.0.0.1:8080"));
        assert!(help(socket("localhost:80")).contains("127.0.0.1:80"));
        assert!(help(socket("example.com:80")).contains("not resolved"));
        assert!(help(socket("127.0.0.1:99999")).contains("127.0.0.1:8080"));
        assert!(help(socket("")).contains("127.0.0.1:8080"));
    }

    #[test]
    fn an_address_alone_is_a_network_of_one() {
        assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(help(network("10.1.0.0/8")).contains("\"10.0.0.0/8\""));
        assert!(help(network("10.0.0.0/33")).contains("10.0.0.0/8"));
        assert!(help(network("example.com")).contains("not an address"));
    }

    #[test]
    fn an_endpoint_is_taken_apart() {
        let it = endpoint("http://Users.Internal:8080/base/?k=v").unwrap();
        assert_eq!(it.host, Host::Name("users.internal".into()));
        assert_eq!((it.port, it.weight), (8080, 1));
        assert_eq!(it.authority, "users.internal:8080");
        assert_eq!(
            (it.base_path.as_str(), it.base_query.as_str()),
            ("/base", "k=v")
        );

        let it = endpoint("http://[::1]").unwrap();
        assert_eq!((it.port, it.authority.as_str()), (80, "[::1]"));
        let it = endpoint("http://10.0.0.1:80/").unwrap();
        assert_eq!(
            (it.authority.as_str(), it.base_path.as_str()),
            ("10.0.0.1", "")
        );
        assert_eq!(endpoint("http://h?x=1").unwrap().base_query, "x=1");
    }

    #[test]
    fn what_is_not_an_endpoint_says_why() {
        for (text, says) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://10.0.0.2", "not implemented"),
            ("ftp://h", "http://"),
            ("http://", "no host"),
            ("http://:80", "no host"),
            ("http://u:p@h", "user or password"),
            ("http://h/#x", "fragment"),
            ("http://h:0", "1 to 65535"),
            ("http://h:+80", "1 to 65535"),
            ("http://h:70000", "1 to 65535"),
            ("http://::1:80", "brackets"),
            ("http://[::1", "]"),
            ("http://[::1]x", "between"),
            ("http://10.0.0.256", "not an address"),
            ("http://a b", "no part of a URL"),
            ("http://a\r\nb", "\\r"),
            ("http://a/{x}", "percent-encode"),
            ("http://a/../b", "dot segment"),
            ("http://-a", "begins or ends"),
        ] {
            let all = help(endpoint(text));
            assert!(all.contains(says), "{text}: {all}");
        }
    }
}
