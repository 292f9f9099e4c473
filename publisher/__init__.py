"""On the access point: count the idle user jobs, decide what each site should hold, publish it signed."""
