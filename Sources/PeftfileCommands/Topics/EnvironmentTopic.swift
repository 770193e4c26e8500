extension HelpTopic {
    /// `peftfile help environment`.
    static let environment = HelpTopic(
        name: "environment", abstract: "variables that are read, and where Hub ids are looked for",
        blocks: [
            .heading("The Hub's local cache"),
            .paragraph(
                "A path that exists is taken first. org/name, org/name@revision and hf://org/name@revision/path are then looked up in "
                    + "the cache that huggingface_hub keeps. It is never written, and nothing is downloaded: what is missing is named "
                    + "with the hf download line that fetches it."),
            .list([
                ("HF_HUB_CACHE", "the cache; else HUGGINGFACE_HUB_CACHE, else hub in HF_HOME"),
                ("HF_HOME", "by default huggingface in XDG_CACHE_HOME, else in ~/.cache; of these, a variable that is empty is set, as for huggingface_hub"),
                ("HUGGINGFACE_HUB_CACHE", "the older name of HF_HUB_CACHE"),
                ("XDG_CACHE_HOME", "where caches of all programs are"),
                ("HOME", "what ~ stands for"),
            ]),
            .heading("Libraries and processor"),
            .list([
                (
                    "PEFTFILE_OPENBLAS",
                    "the OpenBLAS to load where the usual names do not find it; for verify, merges that decompose the base, the updates in "
                        + "diff, and spectra and reports"
                ),
                ("PEFTFILE_LIBYAML", "the libyaml to load where the usual names do not find it; for check --policy with a YAML file"),
                (
                    "PEFTFILE_CPU",
                    "generic, avx2, avx2sha, avx512 or neon; by default the fastest that the machine has, and the same bytes with each"
                ),
            ]),
            .heading("The terminal"),
            .list([
                ("NO_COLOR", "no colours"),
                ("CLICOLOR_FORCE", "colours, also where stdout is no terminal"),
                ("TERM", "no colours and no progress bar where it is dumb"),
                ("LC_ALL", "else LC_CTYPE, else LANG: pictures in the terminal are drawn in ASCII unless the first that is set says UTF-8"),
                ("LC_CTYPE", "see LC_ALL"),
                ("LANG", "see LC_ALL"),
            ]),
        ])
}
