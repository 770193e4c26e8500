import Checkpoints
import Testing

/// What names a repository, by the rules of `validate_repo_id` and of `hf://` addresses.
@Suite struct HubIDTests {
    @Test(arguments: [
        ("org/name", "org/name", "main", nil),
        ("org/name@v1.0", "org/name", "v1.0", nil),
        ("org/name@refs/pr/5", "org/name", "refs/pr/5", nil),
        ("gpt2", "gpt2", "main", nil),
        ("Foo-BAR_foo/bar.123", "Foo-BAR_foo/bar.123", "main", nil),
        ("hf://org/name", "org/name", "main", nil),
        ("hf://org/name/", "org/name", "main", nil),
        ("hf://gpt2", "gpt2", "main", nil),
        ("hf://gpt2@v1/", "gpt2", "v1", nil),
        ("hf://models/org/name@dev", "org/name", "dev", nil),
        ("hf://org/name@dev/sub/model.safetensors", "org/name", "dev", "sub/model.safetensors"),
        ("hf://org/name@refs%2Fpr%2F5/config.json", "org/name", "refs/pr/5", "config.json"),
        ("hf://org/name@refs/pr/5/config.json", "org/name", "refs/pr/5", "config.json"),
    ] as [(String, String, String, String?)])
    func reads(text: String, name: String, revision: String, path: String?) throws {
        let id = try #require(HubID(text))
        #expect(id.name == name && id.revision == revision && id.path == path)
    }

    @Test(arguments: [
        "", "/", "org/", "/name", "a/b/c", "./name", "../name", "org/..", "foo--bar/x", "foo..bar/x", ".repo", "-repo", "name.",
        "name-", "org/name.git", "org/na me", "org/näme", "org/name@", "org/name@../../x", "org/name@a//b", "hf://",
        "hf://datasets/org/name", "hf://spaces/org/name", "hf://kernels/org/name", "hf://org/name/../x", "hf://org/name@refs/pr", "org/na\u{0}me",
    ])
    func refuses(text: String) {
        // A revision such as "refs" alone is a legal name of a branch.
        if text == "hf://org/name@refs/pr" {
            #expect(HubID(text)?.path == "pr")
        } else {
            #expect(HubID(text) == nil)
        }
    }

    @Test func commandsAreReadyToPaste() throws {
        #expect(try #require(HubID("org/name")).downloadCommand() == "hf download org/name")
        #expect(
            try #require(HubID("org/name@refs/pr/5")).downloadCommand(["a b.json"])
                == "hf download org/name 'a b.json' --revision refs/pr/5")
        #expect(try #require(HubID("org/name")).downloadCommand(including: "sub/*") == "hf download org/name --include 'sub/*'")
        #expect(try #require(HubID("org/name")).downloadCommand(["a"], anew: true) == "hf download org/name a --force-download")
    }

    @Test func theFirstPartMayBeTheWholeName() {
        #expect(HubID.canonical("hf://gpt2@v1/sub/config.json") == HubID(name: "gpt2", revision: "v1", path: "sub/config.json"))
        for text in ["gpt2", "gpt2/config.json", "hf://gpt2", "hf://models/gpt2", "hf://datasets/x/y"] { #expect(HubID.canonical(text) == nil) }
    }

    /// The order of huggingface_hub/constants.py.
    @Test func rootsComeFromTheEnvironment() {
        func root(_ environment: [String: String]) -> String { HubCache(environment: environment).root }
        #expect(root(["HOME": "/h"]) == "/h/.cache/huggingface/hub")
        #expect(root(["HOME": "/h", "XDG_CACHE_HOME": "/x"]) == "/x/huggingface/hub")
        #expect(root(["HOME": "/h", "XDG_CACHE_HOME": "/x", "HF_HOME": "~/hf"]) == "/h/hf/hub")
        #expect(root(["HOME": "/h", "HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"]) == "/old")
        #expect(root(["HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "$HOME/new"]) == "/h/new")
        #expect(root(["HOME": "/h", "HF_HUB_CACHE": "${HOME}/a$b$"]) == "/h/a$b$")
        #expect(root(["HOME": "/h/", "HF_HOME": "~"]) == "/h/hub")
        #expect(root(["HOME": ""]) == "/.cache/huggingface/hub")
        #expect(root(["HOME": "/h", "HF_HOME": "$DATA/hf", "DATA": "/d"]) == "/d/hf/hub")
        // Set and empty is set, as for os.getenv.
        #expect(root(["HOME": "/h", "HF_HOME": ""]) == "hub")
        #expect(root(["HOME": "/h", "XDG_CACHE_HOME": ""]) == "huggingface/hub")
        #expect(root(["HOME": "/h", "HF_HUB_CACHE": "", "HF_HOME": "/hf"]).isEmpty)
    }
}
