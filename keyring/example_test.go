package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/keyring"
)

func Example() {
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "keyring.json")
	if _, err := keyring.New(path); err != nil { // as `holdfast keyring new` does
		fmt.Println(err)
		return
	}
	k, err := keyring.Open(path) // worker.Options{Keyring: k, …} encrypts with it
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	key, ciphertext, err := k.Seal(ctx, []byte("4711"), []byte("order 1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	plaintext, err := k.Open(ctx, key, ciphertext, []byte("order 1"))
	fmt.Println(string(plaintext), err)
	_, err = k.Open(ctx, key, ciphertext, []byte("order 2"))
	fmt.Println(errors.Is(err, holdfast.ErrTampered))
	// Output:
	// 4711 <nil>
	// true
}
