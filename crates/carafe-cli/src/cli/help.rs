//! The arrangement of the help: groups of options, a short help of one screen, examples.

use std::ffi::OsString;

use clap::{Arg, Command};

use super::groups::{GROUPS, Group, SHORT};

/// Groups the options of hubs, and adds examples. For `-h`, it leaves only the most used options,
/// and no variables.
pub(super) fn arrange(command: Command, args: &[OsString]) -> Command {
    let short = args.iter().any(|arg| arg == "-h");
    // The order as it is: a command that is made again has lost its place.
    let mut places = 0..;
    command.mut_subcommands(|sub| {
        let name = sub.get_name().to_owned();
        let examples = EXAMPLES.iter().find(|(of, _)| *of == name).map(|(_, text)| examples(text));
        let sub = match ["dev", "serve", "config"].contains(&&*name) {
            true if short => shortened(sub),
            true => grouped(&sub),
            false => sub,
        };
        sub.after_long_help(examples.unwrap_or_default()).display_order(places.next())
    })
}

fn shortened(sub: Command) -> Command {
    let more = format!("See carafe {} --help for all options.", sub.get_name());
    sub.mut_args(in_few_words).after_help(more)
}

/// The command with its options in the order of their groups. clap shows headings in the order of
/// the options, so the command is made again.
fn grouped(sub: &Command) -> Command {
    let mut args: Vec<_> = sub.get_arguments().cloned().map(|arg| (place_of(&arg), arg)).collect();
    args.sort_by_key(|(place, _)| *place);
    let args = args.into_iter().zip(0..).map(|((place, arg), order)| {
        let arg = arg.display_order(order);
        match place {
            Some((group, _)) => arg.help_heading(GROUPS[group].heading),
            None => arg,
        }
    });
    let command = Command::new(sub.get_name().to_owned()).groups(sub.get_groups().cloned());
    command.about(sub.get_about().cloned().unwrap_or_default()).args(args)
}

/// The group of an option and its place in it; `None` comes first.
fn place_of(arg: &Arg) -> Option<(usize, usize)> {
    let name = arg.get_long()?;
    let place = |group: &Group| group.options.iter().position(|option| *option == name);
    GROUPS.iter().zip(0..).find_map(|(group, number)| Some((number, place(group)?)))
}

/// Few words for each of the most used options, in the order of their list.
fn in_few_words(arg: Arg) -> Arg {
    let place = SHORT.iter().position(|(name, _)| arg.get_long() == Some(name));
    let Some(place) = place else { return arg.hide_short_help(true) };
    arg.help(SHORT[place].1).hide_env(true).display_order(place)
}

/// In the style of clap's headings, which it removes where there are no colors.
fn examples(text: &str) -> String {
    format!("\u{1b}[1m\u{1b}[4mExamples:\u{1b}[0m\n{text}")
}

const EXAMPLES: [(&str, &str); 10] = [
    (
        "dev",
        "  carafe dev                            A hub with its data in ./carafe-data
  carafe dev --log memory:              A hub that stores nothing on disk
  curl -N http://127.0.0.1:3000/events/orders
  curl -d 'one flat white' http://127.0.0.1:3000/events/orders",
    ),
    (
        "serve",
        "  openssl rand -hex 32 > carafe.secret && chmod 600 carafe.secret
  carafe serve --secret-file carafe.secret --anonymous subscribe
                                        Everyone reads, tokens publish
  carafe config > carafe.toml           A file with all options, to be changed
  carafe serve --config carafe.toml --check
                                        Check the file before it is used
  carafe serve --config carafe.toml --listen 0.0.0.0:443 \\
      --tls-cert chain.pem --tls-key key.pem",
    ),
    (
        "publish",
        "  carafe publish orders/42 'one flat white'
  carafe publish orders/42 @order.json --event ordered --id order-42
  tail -f app.log | carafe publish log",
    ),
    (
        "subscribe",
        "  carafe subscribe 'orders/*'
  carafe subscribe log --since 10m --format '{time} {data}'
  carafe subscribe log --state seen     Continue where the last run has ended",
    ),
    (
        "token",
        "  carafe token --secret-file carafe.secret --publish 'orders/*' --ttl 1h
  export CARAFE_TOKEN=$(carafe token --secret-file carafe.secret --subscribe '*')",
    ),
    (
        "cluster",
        "  carafe cluster create 'nats://127.0.0.1:4222/carafe?replicas=3'
  carafe cluster check 'nats://127.0.0.1:4222/carafe?replicas=3'
  carafe serve --cluster 'nats://127.0.0.1:4222/carafe?replicas=3' --anonymous subscribe",
    ),
    (
        "config",
        "  carafe config > carafe.toml           All settings, with their defaults
  carafe config --config carafe.toml --heartbeat 20s
                                        The settings that would be in use",
    ),
    (
        "log",
        "  carafe log stat carafe-data
  carafe log verify carafe-data
  carafe log repair carafe-data --dry-run",
    ),
    (
        "completions",
        "  carafe completions bash > ~/.local/share/bash-completion/completions/carafe
  carafe completions zsh > ~/.zfunc/_carafe
  carafe completions fish > ~/.config/fish/completions/carafe.fish",
    ),
    (
        "man",
        "  carafe man | man -l -
  carafe man serve | man -l -
  carafe man --folder /usr/local/share/man/man1",
    ),
];
