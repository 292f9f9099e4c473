"""At a site: read the demand, count own batch jobs, plan, submit, report. One run is one cycle; cron is the loop."""
