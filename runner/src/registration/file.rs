//! The configuration file as people wrote it: comments and order stay.

use super::{Register, read};
use crate::config::{self, Config, Entry};
use anyhow::{Context, Result, anyhow};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    document: DocumentMut,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::parse(path, &read(path)?)
    }

    pub(super) fn open_or_new(path: &Path) -> Result<Self> {
        if path.exists() { Self::open(path) } else { Self::parse(path, "") }
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        // The error's own display quotes the text, which may hold a token.
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            anyhow!("{}: {}", path.display(), error.message().replace('\n', ", "))
        })?;
        Ok(Self { path: path.to_owned(), document })
    }

    /// Reads it as the runner would.
    pub(super) fn read(&self) -> Result<Config> {
        config::read(&self.document.to_string(), &self.path).map(|(config, _)| config)
    }

    /// The entry that was added.
    pub(super) fn last(&self) -> Result<Entry> {
        self.read()?.entries.pop().context("there is no entry")
    }

    pub(super) fn add(&mut self, wanted: &Register, token: &str) -> Result<()> {
        let mut docker = Table::new();
        docker.insert("image", value(&wanted.docker_image));
        let mut entry = Table::new();
        entry.insert("name", value(&wanted.name));
        entry.insert("url", value(&wanted.url));
        entry.insert("token", value(token));
        for (key, file) in [
            ("tls-ca-file", &wanted.tls_ca_file),
            ("tls-cert-file", &wanted.tls_cert_file),
            ("tls-key-file", &wanted.tls_key_file),
        ] {
            if let Some(file) = file {
                entry.insert(key, value(file.display().to_string()));
            }
        }
        entry.insert("docker", Item::Table(docker));
        self.entries()?.push(entry);
        Ok(())
    }

    pub(super) fn replace_token(&mut self, token: &str) -> Result<()> {
        let last = self.entries()?.iter_mut().last().context("there is no entry")?;
        last.insert("token", value(token));
        Ok(())
    }

    /// Removes the entry at this place.
    pub(super) fn remove(&mut self, at: usize) -> Result<()> {
        self.entries()?.remove(at);
        Ok(())
    }

    fn entries(&mut self) -> Result<&mut ArrayOfTables> {
        let entries = self.document.entry("runners").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        let path = self.path.display();
        entries.as_array_of_tables_mut().with_context(|| format!("{path}: runners is no list of [[runners]] tables"))
    }

    /// Writes it whole or not at all; nobody else may read it, it holds tokens.
    pub(super) fn write(&self) -> Result<()> {
        let failed = || format!("cannot write configuration {}", self.path.display());
        let directory = self.path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(directory).with_context(failed)?;
        new.write_all(self.document.to_string().as_bytes()).with_context(failed)?;
        new.as_file().sync_all().with_context(failed)?;
        new.persist(&self.path).with_context(failed)?;
        Ok(())
    }
}
