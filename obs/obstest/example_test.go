package obstest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/kumihimo/kumihimo/obs"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

// pay is the code under test. It knows nothing of tests.
func pay(ctx context.Context, order string) (err error) {
	ctx, span := obs.Start(ctx, "pay", slog.String("order.id", order))
	defer span.End(&err)
	slog.InfoContext(ctx, "charging", "cents", 9900)
	return errors.New("card declined")
}

// aTest stands for the *testing.T of a test.
type aTest struct {
	testing.TB
	cleanup func()
}

func (*aTest) Helper()                  {}
func (*aTest) Name() string             { return "TestPay" }
func (*aTest) Context() context.Context { return context.Background() }
func (t *aTest) Cleanup(f func())       { t.cleanup = f }
func (*aTest) Failed() bool             { return false }
func (*aTest) Errorf(s string, a ...any) {
	fmt.Printf(s+"\n", a...)
}

func ExampleNew() {
	t := &aTest{}
	rec := obstest.New(t)
	_ = pay(rec.Context(), "o7")

	fmt.Println(rec.Check(`
		pay order.id=o7 error="card declined"
		  INFO charging cents=9900
	`))
	fmt.Println(rec.Check(`
		pay
		  INFO charging cents=100
	`))
	t.cleanup()
	// Output:
	// <nil>
	// telemetry differs (- wanted, + recorded):
	//     pay
	//   -   INFO charging cents=100
	//   +   INFO charging cents=9900
}
