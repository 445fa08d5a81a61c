//! Where a file lies, by its path alone.

/// The folders that Python packages are installed into.
const PACKAGES: [&str; 2] = ["site-packages", "dist-packages"];

/// What follows the folder of Python packages that a file lies in: `torch/lib/libtorch.so`.
pub fn in_packages(path: &str) -> Option<&str> {
    PACKAGES.iter().find_map(|folder| path.split_once(&format!("/{folder}/"))).map(|(_, inside)| inside)
}

/// What follows the folder of a Python's library that a file lies in, be it the standard library's or a package's.
pub fn in_python(path: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(at) = path[from..].find("/python3") {
        let rest = &path[from + at + "/python3".len()..];
        let version = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if let Some(inside) = version.strip_prefix('/')
            && path[..from + at].ends_with("/lib")
        {
            return Some(inside);
        }
        from += at + 1;
    }
    in_packages(path)
}

/// Whether one of the directories that a path leads through has that name.
pub fn is_below(path: &str, directory: &str) -> bool {
    let mut names = path.rsplit('/').skip(1);
    names.any(|name| name == directory)
}

/// Whether a path ends with one of the extensions, which come without their dot; letter case does not count.
pub fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.rsplit_once('.').is_some_and(|(_, of)| extensions.iter().any(|known| of.eq_ignore_ascii_case(known)))
}

/// Whether a name is that of a shared library, with or without a version behind it.
pub fn is_shared_library(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_paths() {
        assert_eq!(in_packages("/opt/venv/lib/python3.12/site-packages/a/b.py"), Some("a/b.py"));
        assert_eq!(in_packages("/usr/share/site-packages"), None);
        for (path, inside) in [
            ("/usr/lib/python3.11/json/tool.py", Some("json/tool.py")),
            ("/usr/lib/python3/dist-packages/apt/a.py", Some("dist-packages/apt/a.py")),
            ("/srv/site-packages/a.py", Some("a.py")),
            ("/usr/share/python3/debian.py", None),
            ("/usr/lib/python3-notes/a.py", None),
        ] {
            assert_eq!(in_python(path), inside, "{path}");
        }
        assert!(is_below("/a/tests/b/c.py", "tests") && !is_below("/a/tests", "tests"));
        assert!(has_extension("/m/Model.GGUF", &["gguf"]) && !has_extension("/m.gguf/readme", &["gguf"]));
        assert!(is_shared_library("libc.so.6") && is_shared_library("_c.so") && !is_shared_library("a.sock"));
    }
}
