//! The settings of a hub as text, by their keys in the TOML file.

use std::borrow::Cow;

use clap::{Arg, ArgMatches, Command};

use super::cluster_options::without_credentials;

/// All options that a file may set, in the order of the help.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<Setting>);

/// One option, as the file can set it.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The key, which is the long name of the option.
    pub(crate) key: String,
    pub(crate) help: String,
    pub(crate) value_name: String,
    pub(crate) kind: Kind,
    /// Without an element if the option is not set.
    pub(crate) value: Vec<String>,
    pub(crate) default: Vec<String>,
}

/// The type of a value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string, or a number.
    One,
    Many,
    Switch,
}

impl Settings {
    /// The settings of the subcommand in `matches`. Defaults are those of the bare command, without
    /// a file.
    pub(super) fn of(bare: &Command, matches: &ArgMatches) -> Self {
        let Some((name, matches)) = matches.subcommand() else { return Self::default() };
        let args = bare.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
        Self(args.filter(|arg| may_be_in_file(arg)).map(|arg| Setting::of(arg, matches)).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.key == key)
    }

    /// Takes the values of these settings.
    pub(crate) fn adopt(&mut self, new: &Self, keys: &[&str]) {
        for setting in self.0.iter_mut().filter(|setting| keys.contains(&&*setting.key)) {
            if let Some(new) = new.get(&setting.key) {
                setting.clone_from(new);
            }
        }
    }

    /// The settings that differ, each with its value here and then.
    pub(crate) fn changed<'a>(
        &'a self,
        then: &'a Self,
    ) -> impl Iterator<Item = (&'a Setting, &'a Setting)> {
        let pairs = self.0.iter().filter_map(|now| Some((now, then.get(&now.key)?)));
        pairs.filter(|(now, then)| now.value != then.value)
    }
}

/// A file cannot name another file, and options without a variable belong to one command line.
pub(crate) fn may_be_in_file(arg: &Arg) -> bool {
    arg.get_env().is_some() && arg.get_long().is_some_and(|name| name != "config")
}

impl Setting {
    fn of(arg: &Arg, matches: &ArgMatches) -> Self {
        let value = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
        let value = value.map(|value| value.to_string_lossy());
        let is_engine = arg.get_long() == Some("cluster");
        let default = arg.get_default_values().iter();
        let name = arg.get_value_names().and_then(|names| names.first());
        Self {
            key: arg.get_long().unwrap_or_default().into(),
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            value_name: name.map(ToString::to_string).unwrap_or_default(),
            kind: Kind::of(arg),
            // Settings are printed and logged.
            value: match is_engine {
                true => value.map(|url| without_credentials(&url)).collect(),
                false => value.map(Cow::into_owned).collect(),
            },
            default: default.map(|value| value.to_string_lossy().into_owned()).collect(),
        }
    }

    /// The value for a log line.
    pub(crate) fn words(&self) -> String {
        if self.value.is_empty() { "unset".into() } else { self.value.join(",") }
    }
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        // A switch may stand without a value.
        let is_switch = arg.get_num_args().is_some_and(|values| values.min_values() == 0);
        match arg.get_value_delimiter() {
            Some(_) => Self::Many,
            None if is_switch => Self::Switch,
            None => Self::One,
        }
    }
}
