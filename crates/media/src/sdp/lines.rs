//! A session description as lines: nothing is lost that isn't understood.

use std::fmt;

/// Largest description accepted, in bytes; a Chromium offer with 20 media lines has about 60 kB.
pub const MAX_BYTES: usize = 512 << 10;

/// Most media lines accepted.
pub const MAX_MEDIA_LINES: usize = 256;

/// Why a description was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Over [`MAX_BYTES`].
    #[error("session description has {0} bytes, at most {MAX_BYTES} are accepted")]
    TooLong(usize),
    /// Over [`MAX_MEDIA_LINES`].
    #[error("session description has more than {MAX_MEDIA_LINES} media lines")]
    TooManyLines,
    /// A line that isn't `x=…`.
    #[error("line {0} of the session description is not of the form x=value")]
    NotALine(usize),
    /// An `m=` line without its four parts.
    #[error("media line {0:?} lacks kind, port, protocol or formats")]
    BadMediaLine(String),
}

/// Direction of a media line as its writer means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The writer sends.
    SendOnly,
    /// The writer receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    const ALL: [Self; 4] = [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive];

    /// Attribute name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The direction of that attribute name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.as_str() == name)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }
}

/// One `a=` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Text before the colon.
    pub name: String,
    /// Text after it.
    pub value: Option<String>,
}

impl Attribute {
    /// An attribute with a value.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: Some(value.into()),
        }
    }

    /// An attribute without one.
    pub fn flag(name: &str) -> Self {
        Self {
            name: name.into(),
            value: None,
        }
    }

    /// The value, empty for a flag.
    pub fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

/// One media line with everything that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaLine {
    /// `audio`, `video` or `application`.
    pub kind: String,
    /// Port as written; `0` is a refused line.
    pub port: String,
    /// Transport protocol as written.
    pub protocol: String,
    /// Payload types, or what stands in their place.
    pub formats: Vec<String>,
    /// Lines other than `a=`, whole, in order.
    pub others: Vec<String>,
    /// `a=` lines in order.
    pub attributes: Vec<Attribute>,
}

/// A whole description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Lines above the first media line, whole, in order.
    pub session: Vec<String>,
    /// Media lines.
    pub media: Vec<MediaLine>,
}

impl Description {
    /// Reads a description; line ends may be CRLF or LF.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::TooLong(text.len()));
        }
        let mut description = Self {
            session: Vec::new(),
            media: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            if line.as_bytes().get(1) != Some(&b'=') {
                return Err(SdpError::NotALine(number + 1));
            }
            if let Some(rest) = line.strip_prefix("m=") {
                if description.media.len() == MAX_MEDIA_LINES {
                    return Err(SdpError::TooManyLines);
                }
                description.media.push(MediaLine::parse(rest)?);
                continue;
            }
            let Some(media) = description.media.last_mut() else {
                description.session.push(line.to_owned());
                continue;
            };
            match line.strip_prefix("a=") {
                Some(attribute) => {
                    let (name, value) = match attribute.split_once(':') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (attribute, None),
                    };
                    media.attributes.push(Attribute {
                        name: name.to_owned(),
                        value,
                    });
                }
                None => media.others.push(line.to_owned()),
            }
        }
        Ok(description)
    }

    /// The line with that `a=mid`.
    #[cfg(test)]
    pub fn line(&self, mid: &str) -> Option<&MediaLine> {
        self.media.iter().find(|line| line.mid() == Some(mid))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.session {
            write!(f, "{line}\r\n")?;
        }
        self.media.iter().try_for_each(|line| line.fmt(f))
    }
}

impl fmt::Display for MediaLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", self.kind, self.port, self.protocol)?;
        for format in &self.formats {
            write!(f, " {format}")?;
        }
        f.write_str("\r\n")?;
        for other in &self.others {
            write!(f, "{other}\r\n")?;
        }
        for attribute in &self.attributes {
            match &attribute.value {
                Some(value) => write!(f, "a={}:{value}\r\n", attribute.name)?,
                None => write!(f, "a={}\r\n", attribute.name)?,
            }
        }
        Ok(())
    }
}

impl MediaLine {
    fn parse(rest: &str) -> Result<Self, SdpError> {
        let mut parts = rest.split_whitespace().map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(port), Some(protocol)) => Ok(Self {
                kind,
                port,
                protocol,
                formats: parts.collect(),
                others: Vec::new(),
                attributes: Vec::new(),
            }),
            _ => Err(SdpError::BadMediaLine(rest.to_owned())),
        }
    }

    /// Values of every attribute of that name, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes
            .iter()
            .filter(move |a| a.name == name)
            .map(Attribute::text)
    }

    /// `a=mid`.
    pub fn mid(&self) -> Option<&str> {
        self.values("mid").next()
    }

    /// The direction, if one is written.
    pub fn written_direction(&self) -> Option<Direction> {
        self.attributes
            .iter()
            .filter(|a| a.value.is_none())
            .find_map(|a| Direction::from_name(&a.name))
    }

    /// The direction; `sendrecv` when none is written (RFC 8866 section 6.7).
    pub fn direction(&self) -> Direction {
        self.written_direction().unwrap_or(Direction::SendRecv)
    }

    /// Replaces the direction where it stands.
    pub fn set_direction(&mut self, direction: Direction) {
        let is_direction = |a: &Attribute| a.value.is_none() && Direction::from_name(&a.name).is_some();
        match self.attributes.iter_mut().find(|a| is_direction(a)) {
            Some(attribute) => attribute.name = direction.as_str().into(),
            None => self.attributes.push(Attribute::flag(direction.as_str())),
        }
    }

    /// Drops every attribute that the test names.
    pub fn remove(&mut self, mut unwanted: impl FnMut(&Attribute) -> bool) {
        self.attributes.retain(|attribute| !unwanted(attribute));
    }

    /// Codec name of a payload type, as its `a=rtpmap` has it.
    pub fn codec(&self, format: &str) -> Option<&str> {
        self.values("rtpmap").find_map(|value| {
            let (pt, rest) = value.split_once(' ')?;
            (pt == format).then(|| rest.split('/').next().unwrap_or(rest))
        })
    }

    /// Payload types of that codec, in the order of the line.
    pub fn formats_of(&self, codec: &str) -> Vec<String> {
        let is = |format: &&String| {
            self.codec(format)
                .is_some_and(|name| name.eq_ignore_ascii_case(codec))
        };
        self.formats.iter().filter(is).cloned().collect()
    }

    /// Payload type whose packets that RTX payload type repeats.
    pub fn apt(&self, format: &str) -> Option<&str> {
        self.values("fmtp").find_map(|value| {
            let (pt, parameters) = value.split_once(' ')?;
            (pt == format).then_some(())?;
            parameters.split(';').find_map(|p| p.trim().strip_prefix("apt="))
        })
    }

    /// Moves those payload types to the front, in the order given.
    pub fn put_first(&mut self, first: &[String]) {
        let mut formats: Vec<String> = first
            .iter()
            .filter(|f| self.formats.contains(f))
            .cloned()
            .collect();
        formats.extend(self.formats.iter().filter(|f| !first.contains(f)).cloned());
        self.formats = formats;
    }

    /// Sets parameters of a payload type's `a=fmtp`, replacing those of the same name; adds the line if need be.
    pub fn set_parameters(&mut self, format: &str, wanted: &[(&str, &str)]) {
        let prefix = format!("{format} ");
        let existing = self
            .attributes
            .iter()
            .position(|a| a.name == "fmtp" && a.text().starts_with(&prefix));
        let mut parameters: Vec<String> = match existing {
            Some(at) => {
                let text = &self.attributes[at].text()[prefix.len()..];
                text.split(';')
                    .map(|p| p.trim().to_owned())
                    .filter(|p| !p.is_empty())
                    .collect()
            }
            None => Vec::new(),
        };
        for (name, value) in wanted {
            parameters.retain(|p| p.split('=').next() != Some(*name));
            parameters.push(format!("{name}={value}"));
        }
        let line = Attribute::new("fmtp", format!("{prefix}{}", parameters.join(";")));
        match existing {
            Some(at) => self.attributes[at] = line,
            None => self.attributes.push(line),
        }
    }
}
