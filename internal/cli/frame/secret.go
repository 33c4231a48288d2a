package frame

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// ReadSecret reads the first line of the standard input. At a terminal it asks for it by its
// name, such as "Password", and does not show it.
func ReadSecret(a *App, name string) (string, error) {
	if file, ok := a.In.(*os.File); ok && text.IsTerminal(file) {
		text.Printf(a.Err, "%s: ", name)
		secret, err := term.ReadPassword(int(file.Fd()))
		text.Printf(a.Err, "\n")
		return string(secret), err
	}
	line, err := bufio.NewReader(io.LimitReader(a.In, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the %s: %w", strings.ToLower(name), err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
