// Package keyring keeps the keys with which Holdfast encrypts what messages and sagas carry,
// in a file: a [File] is a [holdfast.Keyring].
//
//	k, err := keyring.Open("/run/secrets/holdfast-keyring.json")
//	w, err := worker.New(worker.Options{Keyring: k, …})
//
// The environment variable HOLDFAST_KEYRING does the same. `holdfast keyring new` makes such
// a file, `holdfast keyring rotate` gives it a new key, and `holdfast keyring list` lists the
// keys. What is encrypted where is in docs/encryption.md.
//
// Encryption is that of Tink (github.com/tink-crypto/tink-go): XChaCha20-Poly1305, whose
// random nonces of 192 bits set no limit to the number of messages. The file has the keys in
// clear: whoever can read it can read all messages.
package keyring
