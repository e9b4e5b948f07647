"""What several backends share: processes, traffic of our own, Toxiproxy's API. They know no fault and no plan."""
