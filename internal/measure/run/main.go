// Command run prints what package measure measures of the repository that it is run in.
// With -write the page gets the table, too.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfastmq/holdfast/internal/measure"
)

func main() {
	write := flag.Bool("write", false, "write the table into "+measure.Page)
	flag.Parse()
	if err := run(".", *write); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(root string, write bool) error {
	bars, err := measure.Measure(root)
	if err != nil {
		return err
	}
	fmt.Print(measure.Table(bars))
	if !write {
		return nil
	}
	path := filepath.Join(root, filepath.FromSlash(measure.Page))
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := measure.WithTable(string(page), bars)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
