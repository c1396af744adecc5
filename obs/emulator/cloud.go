package emulator

import "errors"

// CloudOptions configure the three parts together.
type CloudOptions struct {
	Metadata MetadataServerOptions

	// FrontEnd may have anything but a Backend and Metadata, which are the
	// other two parts.
	FrontEnd FrontEndOptions

	Agent AgentOptions

	// AgentURL is that of another agent, a real one, which takes the place of
	// ours.
	AgentURL string
}

// Cloud is an agent on Cloud Run, behind Google's authentication, and the
// metadata server of whoever sends to it.
type Cloud struct {
	Metadata *MetadataServer
	FrontEnd *FrontEnd
	Agent    *Agent // nil if there was an AgentURL
}

// StartCloud starts the three parts. Programs find them by the variables of
// [Cloud.Environ].
func StartCloud(o CloudOptions) (*Cloud, error) {
	if o.FrontEnd.Backend != "" || o.FrontEnd.Metadata != nil {
		return nil, errors.New("emulator: CloudOptions.FrontEnd has a Backend or Metadata: want neither, StartCloud sets them")
	}
	c := &Cloud{}
	if err := c.start(o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cloud) start(o CloudOptions) (err error) {
	if c.Metadata, err = StartMetadataServer(o.Metadata); err != nil {
		return err
	}
	o.FrontEnd.Metadata, o.FrontEnd.Backend = c.Metadata, o.AgentURL
	if o.AgentURL == "" {
		if c.Agent, err = StartAgent(o.Agent); err != nil {
			return err
		}
		o.FrontEnd.Backend = c.Agent.URL()
	}
	c.FrontEnd, err = StartFrontEnd(o.FrontEnd)
	return err
}

// Environ returns the variables that point a program's telemetry at the cloud.
// They do not pretend that the program itself runs on it.
func (c *Cloud) Environ() map[string]string {
	return map[string]string{
		"GCE_METADATA_HOST":  c.Metadata.Host(),
		"DD_TRACE_AGENT_URL": c.FrontEnd.URL(),
		"OBS_AGENT_AUTH":     "google",
		"OBS_AGENT_AUDIENCE": c.FrontEnd.Audience(),
	}
}

// Close ends the parts, the front end first.
func (c *Cloud) Close() error {
	var errs []error
	if c.FrontEnd != nil {
		errs = append(errs, c.FrontEnd.Close())
	}
	if c.Agent != nil {
		errs = append(errs, c.Agent.Close())
	}
	if c.Metadata != nil {
		errs = append(errs, c.Metadata.Close())
	}
	return errors.Join(errs...)
}
