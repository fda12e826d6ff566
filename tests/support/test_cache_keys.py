from hushtune.support import cache_keys
from hushtune.support.cache_keys import cache_key


def test_a_key_changes_with_each_of_its_parts(monkeypatch):
    def key(what="views", revision=1, libraries=("numpy",), parts=({"a": 1, "b": [2]},)):
        return cache_key(what, revision, libraries, *parts)

    first = key()
    assert first == key() == key(parts=({"b": [2], "a": 1},)) and len(first) == 32
    others = [key("clips"), key(revision=2), key(libraries=("numpy", "scipy")), key(parts=(1,))]
    assert len({first, *others}) == 5
    monkeypatch.setattr(cache_keys, "_version", lambda name: "0.0")
    assert key() != first, "another version of a library"
