package vouch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Login is what the command line keeps of a login.
type Login struct {
	Console string `json:"console"`
	Token   string `json:"token"`
	// Operator is the name that the console signs with, Until when the token ends.
	Operator string    `json:"operator"`
	Until    time.Time `json:"until"`
}

// File is where a login is kept: what HOLDFAST_LOGIN names, or a file of the user's.
func File(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", text.WithRemedy(err, "set HOLDFAST_LOGIN to the file that keeps the login")
	}
	return filepath.Join(dir, "holdfast", "login.json"), nil
}

// Load reads a login; ok is false where nobody is logged in.
func Load(path string) (l Login, ok bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Login{}, false, nil
	case err != nil:
		return Login{}, false, err
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		return Login{}, false, text.WithRemedy(fmt.Errorf("others may read your login, %s", path),
			"run `holdfast logout`, which has the console revoke it, and log in again")
	}
	l, err = read(path)
	return l, err == nil, err
}

func read(path string) (l Login, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Login{}, err
	}
	if err = json.Unmarshal(b, &l); err == nil && l.Token == "" {
		err = errors.New("it has no token")
	}
	if err == nil {
		err = CheckConsole(l.Console)
	}
	if err != nil {
		return Login{}, text.WithRemedy(fmt.Errorf("%s is no login: it cannot be read as one", path),
			"remove it, and log in again with `holdfast login`")
	}
	return l, nil
}

// LoadToRevoke reads a login that others may have read, too.
func LoadToRevoke(path string) (l Login, ok bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return Login{}, false, nil
	}
	l, err = read(path)
	return l, err == nil, err
}

// Save keeps a login where nobody else can read it. It is there whole, or not at all.
func Save(path string, l Login) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".login-*") // which only its user can read
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Remove forgets a login.
func Remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
