//! What only compilers and linkers read.

use super::super::Facts;
use super::super::place::{has_extension, is_below};
use super::{Draft, Rule, lying};

const EXTENSIONS: [&str; 11] = ["a", "la", "lib", "h", "hh", "hpp", "hxx", "cuh", "inl", "ipp", "tpp"];

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    // Headers of the C++ library have no extension.
    let is_header = |path: &str| is_below(path, "include") && !has_extension(path, &["py", "pyc", "so"]);
    let items = lying(facts, |path| has_extension(path, &EXTENSIONS) || is_header(path));
    let way_out = "Compile in a stage of its own and COPY --from=build what it made; of packages from PyPI: RUN pip install \
                   … && find /usr/local/lib -name '*.a' -delete, in one RUN. Headers must stay where the application \
                   compiles while it runs (torch.compile, Triton, CUDA extensions).";
    Rule::Development.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use super::super::super::Rule;
    use super::super::super::fixture::found;

    #[test]
    fn static_libraries_and_headers_are_found() {
        let files = [
            ("usr/lib/libssl.a", 9_000),
            ("usr/include/c++/12/vector", 900),
            ("usr/lib/python3/dist-packages/nvidia/cublas/include/cublas.h", 900),
            ("usr/lib/libssl.so.3", 9_000),
            ("srv/include/template.py", 9_000),
            ("srv/a", 10),
        ];
        assert_eq!(
            found(Rule::Development, &files),
            [
                "/usr/lib/libssl.a",
                "/usr/include/c++/12/vector",
                "/usr/lib/python3/dist-packages/nvidia/cublas/include/cublas.h"
            ]
        );
    }
}
