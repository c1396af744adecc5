package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kumihimo/kumihimo/obs"
)

// check prints what a person can do about traces that do not arrive.
func check(ctx context.Context, c config) error {
	stage, err := newStage()
	if err != nil {
		return err
	}
	defer stage.close()
	cache, closeCache, err := tokenCache(c.redis, c.redisKey)
	if err != nil {
		return err
	}
	defer closeCache()

	o := options("shop", cache)
	o.LogWriter = io.Discard // the findings say all of it
	tel, err := obs.New(ctx, o)
	if err != nil {
		return err
	}
	findings := tel.Check(ctx)
	stop, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := errors.Join(printFindings(os.Stdout, findings), tel.Shutdown(stop)); err != nil {
		return err
	}
	if findings.Err() != nil {
		return errors.New("traces would not arrive as they should")
	}
	return nil
}

// printFindings prints a line for each finding, and its hint below.
func printFindings(out io.Writer, findings obs.Findings) error {
	var table strings.Builder
	for _, f := range findings {
		table.WriteString(f.Name + "\t" + f.State + "\t" + f.Detail + "\n")
		if f.Hint != "" {
			table.WriteString("\t\t→ " + f.Hint + "\n")
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(w, table.String())
	return errors.Join(err, w.Flush())
}
